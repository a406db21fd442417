"""`hamgr doctor`: what is wrong, or will be, around this node; every finding with its remedy.

Facts are gathered first (`look`), then checks make findings of them: a check is a pure function
whose parameters name the facts that it needs (`facts.Facts`), and `registry.CHECKS` lists them. To
add one: write it, list it, test it with a good and a bad case.
"""
