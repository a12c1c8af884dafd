// Package container is the engine: it makes containers of namespaces, cgroups and a root file system, as the OCI runtime
// specification describes them.
package container

type state struct{}
