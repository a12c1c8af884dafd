// Package vhost is about virtqueues that are served elsewhere.
package vhost
