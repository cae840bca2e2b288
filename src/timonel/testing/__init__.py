"""Fakes and the virtual clock, shipped for the tests of people who build on Timonel."""
