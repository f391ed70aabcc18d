"""Stand-ins on loopback for SageMaker Runtime and Bedrock Runtime. They are not AWS and say so."""
