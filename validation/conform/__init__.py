"""Conformance: every NIR node and every neuron variant, against one framework.

`evsim conform` asks three questions of a framework. *import*: does its importer make of a NIR graph
what the graph says? *roundtrip*: does a model of its own survive its exporter and importer?
*native*: does a neuron class compute the update that its arguments declare? An answer is a `Row`.
Nothing here knows a framework; an adapter (`validation.adapters`) offers `imported`, `exported` and
`natives`.
"""
