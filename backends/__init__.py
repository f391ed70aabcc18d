"""Everything outside this process that we talk to, and the wire formats they speak."""
