"""Ingresses, served by HAProxy on one node, from the first one that appears on.

routing.py    Ingresses, classes, Services and Secrets → who answers what (pure)
haproxy.py    that as HAProxy's configuration, maps and certificates (pure text)
process.py    the HAProxy that runs: started, told of new files, found again after a restart of the agent
controller.py informers → routing → files; status and events
"""
