"""From an API call to what IAM is asked: one module for each group of services.

Each reader knows which of a call's parameters make up the ARNs of the resources it touches, and
which condition keys of the service's own its parameters set. The names of actions come from
AWS's list (:mod:`labkit.localaws.iam.catalog`) wherever they equal the operation's.
"""
