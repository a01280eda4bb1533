//! A faithful local server of the OpenAI, Runware and Forvo APIs, with limits, a bill and faults on demand
