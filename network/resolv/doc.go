// Package resolv makes the files by which a box finds names: resolv.conf, hosts, hostname.
package resolv
