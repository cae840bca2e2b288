"""NetworkPolicies, enforced for the pods of this node in a table of their own (`inet`, of the cluster's name).

facts.py      what matters of a pod here (pure)
selections.py sets of pods that policies name, and the address ranges of ipBlocks (pure)
compiler.py   a policy as rules over such sets (pure)
structure.py  chains, counters and verdicts for the pods of one node (pure)
members.py    who is in which set, kept up to date pod by pod
table.py      the script from one state to the next (pure text)
counters.py   packets dropped, by policy
enforcer.py   informers → structure and members → `nft -f -`
"""
