// Package store keeps guest kernels with their modules in the user's cache folder.
package store
