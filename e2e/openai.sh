#!/usr/bin/env bash
# The official OpenAI SDKs against the released program.
exec "$(dirname "$0")/openai/run.sh"
