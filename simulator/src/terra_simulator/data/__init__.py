"""Generated data: a day of plausible values of a user, in every type that Terra documents, and one that it does not.

The fields and their units are those of Terra's published OpenAPI document; the tests validate every body against it.
Values are a function of the seed, the user and the date, so that a test can expect them, and they agree with each
other: the steps of a day contain those of its workout, the stages of a night add up, and so do the meals of a day.
Generators that work from a schema (hypothesis-jsonschema, jsf, polyfactory) were not used: what they generate is valid,
but a night of -3e8 seconds is of no use in a demo, and it hides errors of units and of sums.

`profile` (what stays the same about a user), `day` (what a day's records share), `wearable`, `diary` and `reports` (the
records), `bodies` (webhooks of them), `fit` and `fhir` (the other formats of an environment).
"""
