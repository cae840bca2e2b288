"""The service proxy: Services and EndpointSlices become verdict maps in one nftables table.

services.py   what a Service's port means on this node (pure)
fragments.py  its chains and map elements, and the script from one state to the next (pure text)
proxy.py      informers → fragments → `nft -f -`
"""
