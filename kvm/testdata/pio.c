// The cost of a PIO exit from C, for BenchmarkPIOExit to compare with: the same
// guest as there, in a loop with as little as can be between two KVM_RUNs.
//
// For each number on standard input it makes so many exits, and prints the
// nanoseconds that they took.

#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { MEMORY = 0x20000, CODE = 0x1000, PORT = 0x10 };

static const uint8_t code[] = {
	0xe6, PORT, // out PORT, al
	0xeb, 0xfc, // jmp -4
};

static int64_t now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		err(1, "/dev/kvm");
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		err(1, "KVM_CREATE_VM");
	if (ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) < 0)
		err(1, "KVM_SET_TSS_ADDR");
	uint8_t *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "guest memory");
	memcpy(memory + CODE, code, sizeof code);
	struct kvm_userspace_memory_region region = {
		.memory_size = MEMORY,
		.userspace_addr = (uintptr_t)memory,
	};
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		err(1, "KVM_SET_USER_MEMORY_REGION");

	int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (cpu < 0)
		err(1, "KVM_CREATE_VCPU");
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	if (run == MAP_FAILED)
		err(1, "struct kvm_run");
	struct kvm_sregs sregs;
	if (ioctl(cpu, KVM_GET_SREGS, &sregs) < 0)
		err(1, "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(cpu, KVM_SET_SREGS, &sregs) < 0)
		err(1, "KVM_SET_SREGS");
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	if (ioctl(cpu, KVM_SET_REGS, &regs) < 0)
		err(1, "KVM_SET_REGS");

	long exits;
	while (scanf("%ld", &exits) == 1) {
		int64_t start = now();
		for (long i = 0; i < exits; i++) {
			if (ioctl(cpu, KVM_RUN, 0) < 0)
				err(1, "KVM_RUN");
			if (run->exit_reason != KVM_EXIT_IO || run->io.port != PORT)
				errx(1, "exit %u", run->exit_reason);
		}
		printf("%lld\n", (long long)(now() - start));
		fflush(stdout);
	}
}
