"""The demo: a web page as an app developer would write it with the API, and beside it a timeline of the stack's events.

`static/app.js` is the app, built on `static/api.js`; `static/connected.js` is the page that users return to. They use
only the API and the app's own sign-in. `static/data.js` shows the user's health data. The app's back end,
`health_data.py`, reads it from the table of the consumer of docs/data.md. `static/timeline.js` and `timeline.py` show
the stack's internals, which only a local stack exposes.
"""
