#!/bin/sh
echo "the device does not answer" >&2
exit 3
