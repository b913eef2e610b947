/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 *
 * Preloaded into the simulated host's libvirtd. libvirt asks two things of the
 * machine that neither QEMU nor the kernel's files can answer for it.
 */

#define _GNU_SOURCE
#include <cpuid.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define LEAF_MEMORY_ENCRYPTION 0x8000001Fu

static uint32_t setting(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 0) : otherwise;
}

/*
 * libvirt's own function of this name. It executes CPUID to count the guests
 * that fit (maxGuests, maxESGuests), and CPUID cannot be told what to say.
 */
void virHostCPUX86GetCPUID(uint32_t leaf, uint32_t subleaf,
                           uint32_t *eax, uint32_t *ebx,
                           uint32_t *ecx, uint32_t *edx)
{
    uint32_t a, b, c, d;

    __cpuid_count(leaf, subleaf, a, b, c, d);
    if (leaf == LEAF_MEMORY_ENCRYPTION) {
        a = 1u << 1 | 1u << 3 | 1u << 4;        /* SEV, SEV-ES, SEV-SNP */
        b = setting("SEVSIM_CBITPOS", 51) |
            setting("SEVSIM_REDUCED_PHYS_BITS", 1) << 6;
        c = setting("SEVSIM_MAX_ASID", 15);     /* highest ASID */
        d = setting("SEVSIM_MIN_ASID", 1);      /* lowest for plain SEV */
    }
    if (eax) *eax = a;
    if (ebx) *ebx = b;
    if (ecx) *ecx = c;
    if (edx) *edx = d;
}

/* Let the QEMU wrapper, which will have this process id, know its limit. */
static int note_memlock(pid_t pid, rlim64_t limit)
{
    const char *folder = getenv("SEVSIM_MONITORS");
    char path[256];
    FILE *note;

    if (!folder)
        return -1;
    snprintf(path, sizeof(path), "%s/memlock-%d", folder, (int)pid);
    note = fopen(path, "we");
    if (!note)
        return -1;
    fprintf(note, "%llu\n", (unsigned long long)limit);
    return fclose(note);
}

/*
 * For a guest with <locked/> libvirt raises RLIMIT_MEMLOCK. A root without
 * CAP_SYS_RESOURCE (in a container, in CI) may not, and the start would fail,
 * though no memory is locked here: the guest is not encrypted. So it is noted
 * that libvirt wanted it, as a guest without it would fail on hardware.
 */
int prlimit64(pid_t pid, enum __rlimit_resource resource,
              const struct rlimit64 *new_limit, struct rlimit64 *old_limit)
{
    long result = syscall(SYS_prlimit64, pid, resource, new_limit, old_limit);

    if (result < 0 && new_limit && resource == RLIMIT_MEMLOCK)
        return note_memlock(pid, new_limit->rlim_cur);
    return (int)result;
}
