"""How is a job run so that nothing that was paid for is lost?"""
