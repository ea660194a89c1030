"""`make verify-live`: settle by experiments at the real Terra what its documents leave open (docs/terra.md).

`facts` (the questions and the fact sheet), `receiver` (what Terra's deliveries and redirects reach), `scratch` (what a
run creates at Terra, and its removal), `data_api` (Terra's REST API, read as it is), `experiments` (deliveries),
`api_questions` (requests), `assisted` (the questions that need a person).
"""
