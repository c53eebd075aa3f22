using System.Diagnostics;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu.Execution;

/// <summary>Measures how fast a device copies.</summary>
internal static class CopySpeed
{
    // Timed runs of each copy. Chosen: odd, so that one run is the median.
    private const int Runs = 7;

    /// <summary>Measures copies within the device's memory and from page-locked host memory to it.</summary>
    /// <returns>The median times in milliseconds, after one run that warms up.</returns>
    public static (double WithinDevice, double ToDevice) Measure(Accelerator accelerator, DeviceMemory memory, int bytes)
    {
        accelerator.Bind();
        using DeviceLane lane = memory.CreateLane();
        lane.Begin(bytes, 2L * DeviceLane.Align(bytes), 0);
        _ = lane.Stage<byte>(bytes, out _);
        ArrayView<byte> source = lane.Scratch<byte>(bytes), target = lane.Scratch<byte>(bytes);
        return (MedianTime(lane.Stream, () => target.CopyFrom(lane.Stream, source)), MedianTime(lane.Stream, lane.Upload));
    }

    private static double MedianTime(AcceleratorStream stream, Action copy)
    {
        double[] times = new double[1 + Runs];
        for (int i = 0; i < times.Length; i++)
        {
            long start = Stopwatch.GetTimestamp();
            copy();
            stream.Synchronize();
            times[i] = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }

        return times[1..].Order().ElementAt(Runs / 2);
    }
}
