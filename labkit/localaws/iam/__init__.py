"""Who may do what: authentication and authorisation of every call, as AWS documents them.

``policy``, ``matching``, ``conditions`` and ``evaluation`` decide without any I/O; ``requests``
turns an API call into actions, resources and condition keys; ``signature`` says who signed;
``identity`` puts it together for the front door.
"""
