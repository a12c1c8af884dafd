package cgroup

import "math"

// The ranges of the weights in both versions: MIN_SHARES and MAX_SHARES of kernel/sched/sched.h, CGROUP_WEIGHT_MIN and
// CGROUP_WEIGHT_MAX of linux/cgroup.h.
const (
	minShares, maxShares = 2, 1 << 18
	minWeight, maxWeight = 1, 10000
)

// sharesToWeight turns cpu.shares into cpu.weight with the curve of runc since 1.3.2 and crun since 1.23: a parabola on
// logarithmic scales through the least (2 -> 1), the default (1024 -> 100) and the most (262144 -> 10000). The straight
// line that runtimes used before gave a container with the default of version 1 less than half of version 2's.
func sharesToWeight(shares uint64) uint64 {
	if shares <= minShares {
		return minWeight
	}
	if shares >= maxShares {
		return maxWeight
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// The range of blkio's weights, as the specification's engines have it.
const minBlkio, maxBlkio = 10, 1000

// blkioToWeight turns a weight of blkio into one of io.weight, on the straight line through the ends of both ranges, as
// runc and crun do.
func blkioToWeight(weight uint16) uint64 {
	return minWeight + (uint64(weight)-minBlkio)*(maxWeight-minWeight)/(maxBlkio-minBlkio)
}
