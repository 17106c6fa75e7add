"""How does one see what an engine does?

`PerformanceMonitor` measures a piece of work, `ChromeTrace` draws what each actor did when.  The exporters are modules
of their own, since each needs what not everybody has: `prometheus`, `otel`; `hlog` and `hgrm` write the files of
HdrHistogram, `logs` formats records.
"""

from synth_actors.policy.bottlenecks import BottleneckAnalyzer, analyze
from synth_actors.policy.interval import PerformanceMetrics
from synth_actors.policy.rules.thresholds import Thresholds
from synth_actors.telemetry.chrome_trace import ChromeTrace
from synth_actors.telemetry.monitor import PerformanceMonitor

__all__ = ["BottleneckAnalyzer", "ChromeTrace", "PerformanceMetrics", "PerformanceMonitor", "Thresholds", "analyze"]
