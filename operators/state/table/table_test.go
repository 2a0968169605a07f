package table

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

type id struct {
	key string
	ns  int64
}

// TestAgainstMap does the same to a table and to a Go map.
func TestAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var tab Table[int]
	want := map[id]int{}
	check := func() {
		t.Helper()
		if tab.Len() != len(want) {
			t.Fatalf("got %d entries, want %d", tab.Len(), len(want))
		}
		for i := range tab.Len() {
			e := tab.At(i)
			if v, ok := want[id{e.Key, e.NS}]; !ok || v != e.Value {
				t.Fatalf("got %s/%d = %d, want %d (%v)", e.Key, e.NS, e.Value, v, ok)
			}
		}
		for k := range want {
			if i := tab.Find(Hash([]byte(k.key)), []byte(k.key), k.ns); i < 0 || tab.At(i).Key != k.key || tab.At(i).NS != k.ns {
				t.Fatalf("%v was not found", k)
			}
		}
	}
	for round := range 60 {
		keys := 1 + r.IntN(3000)
		grow := round%3 != 2
		for range 2000 {
			k := id{fmt.Sprintf("key-%d", r.IntN(keys)), int64(r.IntN(3)) - 1}
			h := Hash([]byte(k.key))
			i := tab.Find(h, []byte(k.key), k.ns)
			if _, ok := want[k]; ok != (i >= 0) {
				t.Fatalf("%v: found at %d, want found %v", k, i, ok)
			}
			switch {
			case i < 0 && (grow || r.IntN(4) == 0):
				tab.Insert(h, k.key, k.ns).Value = round
				want[k] = round
			case i >= 0 && (!grow || r.IntN(4) == 0):
				tab.Remove(i)
				delete(want, k)
			case i >= 0:
				tab.At(i).Value++
				want[k]++
			}
		}
		check()
	}
	for tab.Len() > 0 {
		tab.Remove(r.IntN(tab.Len()))
	}
	if len(tab.slots) > 8 || len(tab.chunks) > 2 {
		t.Errorf("an empty table keeps %d slots and %d chunks", len(tab.slots), len(tab.chunks))
	}
}

// TestClear reuses values, and gives memory back once it is not needed any more.
func TestClear(t *testing.T) {
	var tab Table[[]int]
	fill := func(n int) {
		tab.Clear()
		for i := range n {
			k := fmt.Sprint(i)
			e := tab.Insert(Hash([]byte(k)), k, 0)
			e.Value = append(e.Value[:0], i)
		}
	}
	fill(10_000)
	tab.Clear()
	if e := tab.Insert(Hash([]byte("a")), "a", 0); cap(e.Value) == 0 {
		t.Error("the value of a cleared entry is gone")
	}
	for range 20 {
		fill(10)
	}
	if len(tab.slots) > 256 || len(tab.chunks) > 4 {
		t.Errorf("a table of 10 entries keeps %d slots and %d chunks", len(tab.slots), len(tab.chunks))
	}
	for i := range 10 {
		if tab.Find(Hash([]byte(fmt.Sprint(i))), []byte(fmt.Sprint(i)), 0) != i {
			t.Errorf("%d was not found", i)
		}
	}
}

func TestFindDoesNotAllocate(t *testing.T) {
	var tab Table[int]
	for i := range 1000 {
		k := fmt.Sprint(i)
		tab.Insert(Hash([]byte(k)), k, 5)
	}
	key := []byte("517")
	if n := testing.AllocsPerRun(100, func() { tab.At(tab.Find(Hash(key), key, 5)).Value++ }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var tab Table[int64]
			keys := make([][]byte, n)
			for i := range keys {
				keys[i] = fmt.Appendf(nil, "key-%d", i)
				tab.Insert(Hash(keys[i]), string(keys[i]), 0)
			}
			i := 0
			for b.Loop() {
				i = (i + 7919) % n
				tab.At(tab.Find(Hash(keys[i]), keys[i], 0)).Value++
			}
		})
	}
}
