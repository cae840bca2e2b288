"""The service proxy: Services and EndpointSlices become verdict maps in one nftables table.

services.py   what a Service's port means on this node (pure)
fragments.py  its chains and map elements (pure)
claims.py     who holds an address and port that several want (pure)
table.py      the script from one state to the next (pure text)
tablewatch.py tells when somebody deletes the table
conntrack.py  entries of UDP that have to go
proxy.py      informers → fragments → `nft -f -`
"""
