"""Provenance bundles: an analysis or a group as one zip in which no byte can be changed unseen; see docs/bundles.md.

`contents.py` says what is in one, `writing.py` and `crate.py` write it. `layout.py` is its form, which `verifying.py`
checks; those two and `faults.py` need the standard library only.
"""
