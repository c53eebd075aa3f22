using FedICU.Compute;
using FedICU.Gpu.Kernels;

namespace FedICU.Gpu.Execution;

/// <summary>The panels that an importance is computed from, and the types that they are staged in.</summary>
internal readonly struct ImportancePanels
{
    private readonly TensorPanel[] _models, _momentum;
    private readonly MomentumRule _rule;
    private readonly double _beta;

    public ImportancePanels(in ImportanceInputs inputs)
    {
        (_rule, _beta) = (inputs.Rule, inputs.Beta);
        // the local model is not read if the update is supplied
        _models = _rule == MomentumRule.Supplied ? [inputs.Global] : [inputs.Global, inputs.Local];
        _momentum = _rule == MomentumRule.None ? [] : [inputs.Momentum];
        DevicePanels.RequireOneMemory([.. _models, .. _momentum]);
        ModelType = PanelStaging.CommonType(_models);
        MomentumType = _momentum.Length > 0 ? MomentumTypeOf(inputs.Momentum.DType) : DType.F64;
    }

    public DType ModelType { get; }

    public DType MomentumType { get; }

    public int BytesPerElement => _models.Length * (ModelType.BitSize / 8) + _momentum.Length * (MomentumType.BitSize / 8);

    /// <summary>
    /// Returns the type that kernels read or write a momentum in: float32 and float64 as they are, else float64.
    /// </summary>
    public static DType MomentumTypeOf(DType dtype) => dtype is DType.F32 or DType.F64 ? dtype : DType.F64;

    public long ChunkBytes(PanelStaging staging) => staging.ChunkBytesFor(_models);

    /// <summary>Returns the bytes that <see cref="Stage"/> stages.</summary>
    public long StagedBytes(Chunk chunk) =>
        PanelStaging.BytesOf(_models, ModelType, chunk) + PanelStaging.BytesOf(_momentum, MomentumType, chunk);

    public DeviceImportance Stage(PanelStaging staging, DeviceLane lane, Chunk chunk) => new()
    {
        Models = staging.Stage(lane, _models, ModelType, chunk),
        Momentum = staging.StageSingle(lane, _momentum, MomentumType, chunk),
        Rule = (int)_rule,
        Beta = _beta,
    };
}
