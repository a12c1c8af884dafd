// Package seccomp turns the seccomp section of an OCI runtime configuration into a program for seccomp(2).
package seccomp
