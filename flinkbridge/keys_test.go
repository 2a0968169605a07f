package flinkbridge

import (
	"encoding/hex"
	"fmt"
	"testing"
	"unicode/utf8"
)

// TestPlaced compares with what testdata/Placed.java says of these keys; TestPlacedByJava runs it.
func TestPlaced(t *testing.T) {
	for _, x := range []struct {
		key                   string
		groups                int
		buffer, murmur, array int
	}{
		{"0000000000000000", 128, 13, 78, 40},
		{"0000000510203040", 32768, 18507, 16139, 17018},
		{"ff00000780abcdef", 7, 0, 5, 4},
		{"00000fff9e3779b9", 128, 35, 52, 13},
	} {
		bytes, _ := hex.DecodeString(x.key)
		for by, want := range map[placer]int{byBuffer: x.buffer, byMurmur: x.murmur, byArray: x.array} {
			if got := (placing{by, x.groups}).group(searchedKey(bytes)); got != want {
				t.Errorf("%s of %d by %s: got the group %d, want %d", x.key, x.groups, by, got, want)
			}
		}
	}
}

// TestKeysSpreadEvenly: at any parallelism each subtask has as many keys as any other, or one more or less.
func TestKeysSpreadEvenly(t *testing.T) {
	for _, by := range []placer{byBuffer, byMurmur} {
		for _, x := range []struct{ n, groups int }{{1, 128}, {4, 128}, {8, 128}, {100, 128}, {128, 128}, {4096, 128}, {8, 32768}, {128, 4096}} {
			p := placing{by, x.groups}
			keys := p.keys(x.n)
			for parallelism := 1; parallelism <= min(x.groups, x.n, 64); parallelism++ {
				has := make([]int, parallelism)
				for i, key := range keys {
					number, ok := numberOf(key, x.n)
					if !ok || number != i || !utf8.Valid(key) {
						t.Fatalf("%v: the key %x is not that of %d", p, key, i)
					}
					has[p.group(searchedKey(key))*parallelism/x.groups]++
				}
				// A group has up to ceil(n/groups) keys, and a subtask up to ceil(groups/parallelism) groups.
				most := max((x.n+parallelism-1)/parallelism+1, (x.n+x.groups-1)/x.groups*((x.groups+parallelism-1)/parallelism))
				least := min(x.n/parallelism-1, x.n/x.groups*(x.groups/parallelism))
				for subtask, n := range has {
					if n > most || n < least {
						t.Errorf("%v, %d keys, parallelism %d: subtask %d has %d, want %d to %d", p, x.n, parallelism, subtask, n, least, most)
					}
				}
			}
		}
	}
}

// TestKeysOfBatchSpreadEvenly: a batch job's parallelism is its number of groups.
func TestKeysOfBatchSpreadEvenly(t *testing.T) {
	for parallelism := 1; parallelism <= 9; parallelism++ {
		p := placing{byArray, parallelism}
		has := make([]int, parallelism)
		for _, key := range p.keys(128) {
			has[p.group(searchedKey(key))]++
		}
		for subtask, n := range has {
			if n < 128/parallelism || n > (128+parallelism-1)/parallelism {
				t.Errorf("parallelism %d: subtask %d has %d of 128 keys", parallelism, subtask, n)
			}
		}
	}
}

func TestPlainKeys(t *testing.T) {
	for by, want := range map[string]placer{"2.62.0": byBuffer, "2.70.0": byMurmur, "2.70": byMurmur, "2.71.0": "", "2": "", "": ""} {
		if got := placerOf(by, true); got != want {
			t.Errorf("%q: got %q, want %q", by, got, want)
		}
	}
	if got := fmt.Sprintf("%x", placing{}.keys(300)[:3]); got != "[00000000 00000001 00000002]" {
		t.Errorf("got the keys %s", got)
	}
	for _, key := range [][]byte{nil, {0, 0, 0}, {0, 0, 0, 3}, {0, 0, 0, 0x80}, {0xff, 0xff, 0xff, 0xff}} {
		if n, ok := numberOf(key, 3); ok {
			t.Errorf("got %d of the key %x", n, key)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	for _, by := range []placer{byBuffer, byMurmur, byArray} {
		for _, x := range []struct{ n, groups int }{{8, 128}, {128, 128}, {4096, 128}, {8, 32768}, {128, 32768}, {4096, 32768}} {
			b.Run(fmt.Sprintf("%s/%d-of-%d", by, x.n, x.groups), func(b *testing.B) {
				for b.Loop() {
					placing{by, x.groups}.search(x.n)
				}
			})
		}
	}
}
