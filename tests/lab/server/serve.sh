#!/bin/sh
# Serves the mirror on port 80 and the registry on port 5000. The container is stopped with SIGKILL: both
# only read.
busybox httpd -p 80 -h /srv/mirror
exec docker-registry serve /etc/registry.yaml
