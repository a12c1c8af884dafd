// Package inflight is the area in which a vhost-user back-end remembers which
// requests it took, so that the next one can go on where it died.
package inflight
