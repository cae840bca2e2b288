"""CEL, the language of policies, of rules for custom resources and of selectors of devices, as Kubernetes has it.

    text ─ lexer, parser (macros) ─► nodes ─ checker (environment, overloads, unification) ─► typed nodes
                                                  ├─ estimates ─► the most it can cost
                                                  └─ planner (steps, folds) ─► Program.evaluate(variables)

`program` has the entry points, `library/` the functions; `admission`, `devices` and `schemas` say what the expressions
of each place can name. Nothing here is imported before an expression is met: import from the modules, inside functions.
Messages are those of Kubernetes v1.36, since clients see them.
Source: kubernetes.io/docs/reference/using-api/cel; github.com/google/cel-spec/blob/master/doc/langdef.md
"""
