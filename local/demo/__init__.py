"""The demo: a web page as an app's developer would write it with the API, and beside it what happens underneath.

`static/app.js` is the app, on `static/api.js`; `static/connected.js` is where a person comes back to. They know the API
and the app's own sign-in, and nothing else. `static/underneath.js` and `underneath.py` look behind the scenes, as only
a laptop can.
"""
