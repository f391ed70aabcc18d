"""The customer's model.py: loaded by path, run where the policy says, kept from harming anyone else.

`guest/` is what runs beside the customer's code, in this process or in a worker's own virtual environment: standard
library only. The rest is the host's side: which handlers a policy needs (`registry`), one request's way through one
(`passages`), the three places it can run (`inline`, `threads`, `processes`), and environments for requirements.txt.
"""
