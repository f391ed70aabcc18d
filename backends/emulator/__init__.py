"""Stand-ins on loopback for SageMaker Runtime and Bedrock Runtime. They are not AWS and say so.

Built from botocore and its service models, never from `backends/wire`, so that the product and its stand-ins cannot
agree with each other instead of with AWS. docs/emulator.md is the manual.
"""
