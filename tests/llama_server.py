"""How does a test get a real LLM server without a model to download?

`python tests/llama_server.py FOLDER` writes a llama of random weights (one block, some hundred kilobytes) as GGUF and
serves it by llama.cpp's own server through `xllamacpp`; it prints its address and runs until it is ended.  The text is
noise, the protocol is real: `/v1/messages`, `/v1/chat/completions`, server-sent events, token counts, `/metrics`.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import gguf
import numpy as np

WIDTH = 32
HEADS = 2
FEED_FORWARD = 64
CONTEXT = 8192
SLOTS = 8
WORDS = "otter river stone blue seven small name city true false null".split()
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}<assistant>"


def vocabulary() -> tuple[list[bytes], list[float], list[int]]:
    """Tokens, scores and kinds of a sentencepiece vocabulary that can write every byte, JSON and a few words."""
    special = [b"<unk>", b"<s>", b"</s>"]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    raw = [f"<0x{byte:02X}>".encode() for byte in range(256)]
    normal = [chr(code).encode() for code in range(33, 127)] + ["\u2581".encode()]
    normal += [f"\u2581{word}".encode() for word in WORDS]
    tokens = special + raw + normal
    scores = [0.0] * (len(special) + len(raw)) + [-float(rank) for rank in range(len(normal))]
    kinds += [gguf.TokenType.BYTE] * len(raw) + [gguf.TokenType.NORMAL] * len(normal)
    return tokens, scores, [int(kind) for kind in kinds]


def write_model(path: Path) -> None:
    """A llama whose weights are noise, always the same noise; it writes printable text and never ends by itself."""
    tokens, scores, kinds = vocabulary()
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    noise = np.random.default_rng(7)

    def matrix(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return noise.normal(0.0, 0.2, shape).astype(np.float32)

    # One direction that every hidden state has, and that tells against single bytes and control tokens.
    embedding, output = matrix(len(tokens), WIDTH), matrix(len(tokens), WIDTH)
    embedding[:, 0] = 8.0
    output[:, 0] = [0.0 if kind == gguf.TokenType.NORMAL else -30.0 for kind in kinds]
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", matrix(WIDTH, WIDTH))
    writer.add_tensor("blk.0.ffn_gate.weight", matrix(FEED_FORWARD, WIDTH))
    writer.add_tensor("blk.0.ffn_up.weight", matrix(FEED_FORWARD, WIDTH))
    writer.add_tensor("blk.0.ffn_down.weight", matrix(WIDTH, FEED_FORWARD))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(folder: Path) -> None:
    import xllamacpp

    model = folder / "noise.gguf"
    write_model(model)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {"noise"}
    params.n_ctx = CONTEXT
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.n_gpu_layers = 0
    params.warmup = False
    params.endpoint_metrics = True
    params.port = 0
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
