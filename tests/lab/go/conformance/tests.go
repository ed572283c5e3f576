// Package conformance keeps what upstream's end-to-end tests need among the requirements of this module.
package conformance

import _ "k8s.io/kubernetes/test/e2e"
