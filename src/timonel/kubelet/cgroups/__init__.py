"""The cgroups of pods, version 1 and 2, below our own root; nothing outside it is ever touched."""
