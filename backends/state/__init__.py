"""What the processes of a fleet share: who holds a duty, where migrations stand, what was decided why.

One Protocol (`store.py`) and three places that keep it: a SQLite file for the processes of one machine, Valkey or Redis
for proxies beside SageMaker, and objects in S3, written under conditions, for proxies inside it. Nothing on a request's
path asks any of them.
"""

from .places import checked, open_store
from .store import Item, Lease, Store, StoreError

__all__ = ["Item", "Lease", "Store", "StoreError", "checked", "open_store"]
