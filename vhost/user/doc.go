// Package user is the vhost-user protocol: its messages, and the socket that they
// go over.
package user
