namespace FedICU.Experiments;

/// <summary>The server's step: x + step (y - x), from the received model x towards the merged one y.</summary>
internal sealed class StepSize(double step) : ServerStep
{
    public override string Name => "step";

    public override void Apply(ElementBlock block)
    {
        foreach (ref double entry in block.Update)
            entry *= step;
    }
}
