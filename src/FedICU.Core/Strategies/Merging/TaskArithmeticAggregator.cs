namespace FedICU;

/// <summary>Task arithmetic (<see cref="TaskArithmetic"/>).</summary>
/// <param name="options">The options; null for the defaults.</param>
public sealed class TaskArithmeticAggregator(TaskArithmeticOptions? options = null)
    : StageAggregator(TaskArithmetic.Create(options));
