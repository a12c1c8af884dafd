// Package cgroup makes control groups, versions 1 and 2, as steps of a plan.
package cgroup
