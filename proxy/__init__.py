"""The process: faces, the one pipeline, telemetry, wiring, command line."""
