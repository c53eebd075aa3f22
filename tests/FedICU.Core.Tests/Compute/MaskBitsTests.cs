using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>
/// Packing and blending by masks, compared with simple loops, at the edges of the memory. SimdBackendTests runs the
/// code for other CPUs in a child process.
/// </summary>
internal sealed unsafe class MaskBitsTests
{
    [Test]
    public void PackAndBlendFollowTheBits([Values(2, 4, 8)] int size)
    {
        using var memory = new GuardedPanels();
        var random = new Random(size);
        for (int length = 0; length < 300; length++)
        {
            memory.Begin();
            // nothing is read past the last element, and nothing is written past the slack
            byte* selected = memory.Bytes(length * size, atEnd: true), others = memory.Bytes(length * size, atEnd: true);
            byte* mask = memory.Bytes((length + 7) / 8, atEnd: true);
            byte* target = memory.Bytes(length * size, atEnd: true), zeros = memory.Bytes(length * size, atEnd: true);
            random.NextBytes(new Span<byte>(selected, length * size));
            random.NextBytes(new Span<byte>(others, length * size));
            new Span<byte>(mask, (length + 7) / 8).Clear();
            int density = random.Next(5);
            List<byte> packed = [], blended = [], filled = [];
            for (int i = 0; i < length; i++)
            {
                bool sent = random.Next(4) < density;
                mask[i / 8] |= (byte)((sent ? 1 : 0) << i % 8);
                ReadOnlySpan<byte> element = new(selected + i * size, size), other = new(others + i * size, size);
                if (sent)
                    packed.AddRange(element);
                blended.AddRange(sent ? element : other);
                filled.AddRange(sent ? element : new byte[size]);
            }

            byte* values = memory.Bytes(packed.Count + MaskBits.Slack, atEnd: true);
            MaskBits.Pack(selected, size, length, mask, values);
            MaskBits.Blend(selected, others, size, length, mask, target);
            MaskBits.Blend(selected, null, size, length, mask, zeros);
            Assert.That(new Span<byte>(values, packed.Count).ToArray(), Is.EqualTo(packed), $"{length}");
            Assert.That(new Span<byte>(target, length * size).ToArray(), Is.EqualTo(blended), $"{length}");
            Assert.That(new Span<byte>(zeros, length * size).ToArray(), Is.EqualTo(filled), $"{length}");
            Assert.That(MaskBits.Count(new Span<byte>(mask, (length + 7) / 8)), Is.EqualTo(packed.Count / size));
            Assert.That(memory.AreIntact(), $"{length}");
        }
    }
}
