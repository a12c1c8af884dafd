// Package backend is the backend's end of the vhost-user protocol.
package backend
