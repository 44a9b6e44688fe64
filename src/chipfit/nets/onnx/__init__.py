"""ONNX files that were not made here become torch modules, which are traced like any other.

A file is read (`file`), brought to float32 without quantisation (`plain`), its nodes are bound one by one to what they
compute in torch (`table`, a file for each family), and the whole is held against ONNX Runtime on the file (`held`).
From there on it is a module of a user's: operators that the trace knows get choices, the others are taken as they are.
"""
