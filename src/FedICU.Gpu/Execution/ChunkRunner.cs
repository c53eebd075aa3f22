using ILGPU.Runtime;

namespace FedICU.Gpu.Execution;

/// <summary>Runs the chunks of a verb: one lane computes a chunk while another stages the next. Thread-safe.</summary>
internal sealed class ChunkRunner(Accelerator accelerator, DeviceMemory memory)
{
    // Lanes of one verb. Derived: one computes while the other stages.
    private const int LanesPerVerb = 2;

    // All threads share an OpenCL kernel object, which keeps its arguments until it is launched: only one thread may
    // launch at a time. CUDA passes the arguments with the launch.
    private readonly Lock? _launching = accelerator.AcceleratorType == AcceleratorType.OpenCL ? new Lock() : null;

    /// <summary>Runs every chunk.</summary>
    /// <param name="chunks">The chunks.</param>
    /// <param name="start">
    /// Stages a chunk and starts its kernels on a lane. Returns an action that takes the results; the actions run in
    /// the order of the chunks.
    /// </param>
    public void ForEach(List<Chunk> chunks, Func<DeviceLane, Chunk, Action> start)
    {
        if (chunks.Count == 0)
            return;
        accelerator.Bind();
        var lanes = new List<DeviceLane>();
        bool succeeded = false;
        try
        {
            while (lanes.Count < Math.Min(chunks.Count, LanesPerVerb))
                lanes.Add(memory.TakeLane());
            for (int i = 0; i < chunks.Count; i++)
            {
                DeviceLane lane = lanes[i % lanes.Count];
                lane.Finish();
                _launching?.Enter();
                try
                {
                    lane.Download(start(lane, chunks[i]));
                }
                finally
                {
                    _launching?.Exit();
                }
            }

            for (int i = 0; i < lanes.Count; i++)
                lanes[(chunks.Count + i) % lanes.Count].Finish();
            succeeded = true;
        }
        finally
        {
            foreach (DeviceLane lane in lanes)
            {
                if (succeeded)
                    memory.ReturnLane(lane);
                else
                    Discard(lane);
            }
        }
    }

    /// <summary>Disposes a lane after a failure. Ignores further failures: the caller reports the first.</summary>
    private static void Discard(DeviceLane lane)
    {
        try
        {
            lane.Abandon();
        }
        catch (Exception e) when (DeviceFailure.IsDeviceFailure(e))
        {
        }

        lane.Dispose();
    }
}
