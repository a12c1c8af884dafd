// Package frontend is the frontend's end of the vhost-user protocol.
package frontend
