#!/bin/sh
# Stands before rustc for the crates of this checkout (RUSTC_WORKSPACE_WRAPPER) and does nothing: that its path is part of
# what cargo tells builds apart by is the point. Checkouts share one target folder, for the dependencies' sake, and cargo
# would else take one checkout's crates for another's.
exec "$@"
