"""Learning from recorded outcomes: scores, thresholds with a stated confidence, what another policy would do.

Needs the extra `langroute[tune]`, which `import langroute` and routed calls never ask for.
"""
