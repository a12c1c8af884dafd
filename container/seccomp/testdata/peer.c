/* Makes seccomp programs with libseccomp, for peer_test.go to compare with. Commands come as lines on standard input:
 *
 *	number ARCH NAME                        answers with a line: the number, -1 if there is none
 *	init ACTION VALUE                       begins a filter with this default action
 *	arch NAME
 *	optimize LEVEL
 *	rule ACTION VALUE NAME [ARG OP A B]...  a rule that libseccomp refuses is told by its errno, see end
 *	end                                     answers with an errno, the program's length in bytes (two int32), and itself
 *
 * libseccomp 2.5.4 goes round in a circle for ever for some sets of rules. It is given a second of the processor's
 * time for each profile; the errno is ETIME then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

static uint32_t action(const char *name, unsigned value)
{
	if (!strcmp(name, "SCMP_ACT_ERRNO"))
		return SCMP_ACT_ERRNO(value);
	if (!strcmp(name, "SCMP_ACT_TRACE"))
		return SCMP_ACT_TRACE(value);
#define IS(a) \
	if (!strcmp(name, #a)) \
		return a;
	IS(SCMP_ACT_ALLOW)
	IS(SCMP_ACT_KILL)
	IS(SCMP_ACT_KILL_THREAD)
	IS(SCMP_ACT_KILL_PROCESS)
	IS(SCMP_ACT_LOG)
	IS(SCMP_ACT_NOTIFY)
	IS(SCMP_ACT_TRAP)
#undef IS
	fprintf(stderr, "peer: action %s\n", name);
	exit(2);
}

static enum scmp_compare operator(const char *name)
{
#define IS(a) \
	if (!strcmp(name, #a)) \
		return a;
	IS(SCMP_CMP_NE)
	IS(SCMP_CMP_LT)
	IS(SCMP_CMP_LE)
	IS(SCMP_CMP_EQ)
	IS(SCMP_CMP_GE)
	IS(SCMP_CMP_GT)
	IS(SCMP_CMP_MASKED_EQ)
#undef IS
	fprintf(stderr, "peer: operator %s\n", name);
	exit(2);
}

static int rule(scmp_filter_ctx ctx, char *line)
{
	char act[64], name[64], op[64];
	unsigned value, n = 0;
	int used, call;
	struct scmp_arg_cmp args[6];

	if (sscanf(line, "%63s %u %63s%n", act, &value, name, &used) != 3)
		return -EINVAL;
	line += used;
	while (n < 6) {
		unsigned long long a, b;
		if (sscanf(line, "%u %63s %llu %llu%n", &args[n].arg, op, &a, &b, &used) != 4)
			break;
		args[n].op = operator(op);
		args[n].datum_a = a;
		args[n].datum_b = b;
		n++;
		line += used;
	}
	call = seccomp_syscall_resolve_name(name);
	if (call == __NR_SCMP_ERROR)
		return -ESRCH;
	return seccomp_rule_add_array(ctx, action(act, value), call, n, args);
}

static void export(scmp_filter_ctx ctx, int32_t error)
{
	static char program[1 << 20];
	int fd = memfd_create("program", 0);
	int32_t head[2] = { error, 0 };
	ssize_t n = 0;

	if (fd < 0)
		exit(3);
	if (!error) {
		head[0] = seccomp_export_bpf(ctx, fd);
		n = pread(fd, program, sizeof program, 0);
	}
	close(fd);
	head[1] = n;
	fwrite(head, sizeof head, 1, stdout);
	fwrite(program, 1, n, stdout);
	fflush(stdout);
	if (ctx)
		seccomp_release(ctx);
}

static sigjmp_buf out_of_time;

static void on_vtalrm(int signal)
{
	siglongjmp(out_of_time, signal);
}

static void give_time(int seconds)
{
	struct itimerval timer = { .it_value.tv_sec = seconds };

	setitimer(ITIMER_VIRTUAL, &timer, NULL);
}

int main(void)
{
	static char line[1 << 16];
	static scmp_filter_ctx ctx;
	static int32_t error;

	signal(SIGVTALRM, on_vtalrm);
	while (fgets(line, sizeof line, stdin)) {
		char a[64], b[64];
		unsigned value;
		int rc = 0;

		if (sigsetjmp(out_of_time, 1)) {
			error = -ETIME; /* what libseccomp was at is lost, as is its memory */
			ctx = NULL;
			if (!strncmp(line, "end", 3))
				export(NULL, error);
			continue;
		}
		if (!ctx && error == -ETIME && !strncmp(line, "rule ", 5))
			continue;
		if (sscanf(line, "number %63s %63s", a, b) == 2) {
			int nr = seccomp_syscall_resolve_name_arch(seccomp_arch_resolve_name(a), b);
			printf("%d\n", nr < 0 ? -1 : nr);
			fflush(stdout);
		} else if (sscanf(line, "init %63s %u", a, &value) == 2) {
			ctx = seccomp_init(action(a, value));
			error = ctx ? 0 : -EINVAL;
			give_time(1);
		} else if (sscanf(line, "arch %63s", a) == 1) {
			rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(a));
			if (rc == -EEXIST)
				rc = 0;
		} else if (sscanf(line, "optimize %u", &value) == 1) {
			rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, value);
		} else if (!strncmp(line, "rule ", 5)) {
			rc = rule(ctx, line + 5);
		} else if (!strncmp(line, "end", 3)) {
			export(ctx, error);
			give_time(0);
		} else {
			fprintf(stderr, "peer: %s", line);
			return 2;
		}
		if (!error)
			error = rc;
	}
	return 0;
}
